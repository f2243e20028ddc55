//! `waybill screen`: whether an entity of the register is owned from a restricted region, and
//! through whom.

mod customers;
mod entity;
mod svg;
mod tree;

use std::path::PathBuf;

use self::customers::{CustomerResult, all_as_json, all_as_text};
use self::entity::EntityReport;
use super::arguments::{Countries, word};
use super::clock::now;
use super::error::CommandError;
use super::output::{OutputFormat, complain, print, print_json};
use super::register;
use crate::compile::directory::{customers, owners, says_of_customers};
use crate::compile::settings::{Comparison, Method};
use crate::shape::Integer;
use crate::terms::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct ScreenArguments {
    /// The id of the entity, or of a customer
    #[arg(required_unless_present = "all", conflicts_with_all = ["all", "csv"])]
    entity: Option<String>,
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Screen every customer: result, largest restricted share, and missing facts if unresolved
    #[arg(long)]
    all: bool,
    /// The method for shares: cascade, multiplicative or either; overrides the register's setting
    #[arg(long, value_parser = word::<Method>)]
    method: Option<Method>,
    /// How shares compare with the threshold: gt (more than) or ge (at least); overrides the
    /// register's setting
    #[arg(long, value_parser = word::<Comparison>)]
    comparison: Option<Comparison>,
    /// The threshold in basis points; overrides the register's setting
    #[arg(
        long,
        value_name = "BASIS_POINTS",
        value_parser = clap::value_parser!(u64).range(0..=10_000)
    )]
    threshold: Option<u64>,
    /// The restricted countries, such as CN,HK; overrides the register's regions
    #[arg(long, value_name = "COUNTRIES", value_parser = Countries::parse)]
    restricted: Option<Countries>,
    /// The time as of which shares count (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    #[command(flatten)]
    output: OutputFormat,
    /// The format of the output
    #[arg(
        long,
        value_enum,
        default_value = "text",
        conflicts_with_all = ["json", "csv"]
    )]
    format: ScreenFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ScreenFormat {
    /// Text for people
    Text,
    /// JSON for machines, as with --json
    Json,
    /// A picture of the owners of one entity
    Svg,
}

pub(super) fn run(arguments: &ScreenArguments) -> Result<(), CommandError> {
    let folder = &arguments.register;
    let files = register::files(folder, says_of_customers)?;
    let (owners, remarks) = owners(&files.documents, arguments.time.unwrap_or_else(now));
    register::complain_of(folder, &remarks);
    let owners = owners.ok_or_else(|| CommandError::about(folder, "nothing is screened"))?;
    let customers = customers(&files.documents);
    let format = if arguments.output.json { ScreenFormat::Json } else { arguments.format };
    let mut settings = owners.settings.ownership.clone();
    settings.method = arguments.method.unwrap_or(settings.method);
    settings.comparison = arguments.comparison.unwrap_or(settings.comparison);
    settings.threshold_basis_points =
        arguments.threshold.map_or(settings.threshold_basis_points, Integer);
    let screening = owners.graph.screen(&settings, |place| match &arguments.restricted {
        Some(Countries(countries)) => countries.contains(&place.country),
        None => owners.restricts(place),
    });
    let Some(id) = &arguments.entity else {
        let results: Vec<CustomerResult<'_>> =
            customers.iter().map(|customer| CustomerResult::of(customer, &screening)).collect();
        match format {
            _ if arguments.output.csv => print(&CustomerResult::table(results)?),
            ScreenFormat::Json => print_json(&all_as_json(&screening, &results)),
            ScreenFormat::Text => print(&all_as_text(&screening, results)),
            ScreenFormat::Svg => {
                let message = "a picture shows one company: name an entity or a customer";
                return Err(CommandError::new(message));
            }
        }
        return Ok(());
    };
    let customer = customers.iter().find(|customer| customer.id.as_str() == id);
    let company = customer.and_then(|customer| customer.entity.as_ref());
    let subject = match (owners.graph.find(id), customer, company) {
        (Ok(subject), ..) => subject,
        (Err(_), _, Some(company)) => owners.graph.find(company.as_str())?,
        (Err(_), Some(customer), None) => {
            let result = CustomerResult::of(customer, &screening);
            if format == ScreenFormat::Json {
                print_json(&result.as_json());
            } else {
                print(&format!("{}: {}: {}\n", result.id, result.status, result.why()));
            }
            return Ok(());
        }
        (Err(mismatch), None, None) => return Err(mismatch.into()),
    };
    let report = EntityReport::of(&screening, subject);
    match format {
        ScreenFormat::Json => print_json(&report.as_json()),
        ScreenFormat::Text => print(&report.as_text()),
        ScreenFormat::Svg => print(&svg::draw(&report.sentence(), &report.tree.rows())),
    }
    if let Some(company) = company.filter(|company| company.as_str() != report.tree.id(subject)) {
        let note = format!(
            "note: this is the entity `{id}`. A customer has the same id, but the company \
             `{company}`"
        );
        if format == ScreenFormat::Text { print(&format!("\n{note}\n")) } else { complain(&note) }
    }
    Ok(())
}
