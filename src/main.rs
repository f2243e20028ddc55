//! The desk: `waybill`.
fn main() -> std::process::ExitCode {
    waybill::cli::main()
}
