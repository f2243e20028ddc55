//! Every threshold, with its unit and default. `docs/sharing.md` has the figures behind them.

use crate::shape::{
    Integer, Mismatch, Problems, Word, object, read_document, suggestion, to_value,
};

object! {
    /// When a sign of sharing fires: `sharing` in register.json. What is left out has its default.
    pub struct SharingThresholds {
        /// How many days a sign is looked for in, up to the day itself
        window_days: Integer<1, 31> = Integer(7),
        /// How many days a sign lasts after the last day that showed it
        lasts_days: Integer<1, 365> = Integer(14),
        /// sharing.addresses: how many robust deviations above the usual day, in logarithms
        addresses_deviations: Integer<1, 100> = Integer(3),
        /// sharing.addresses: the least that one such deviation counts, in hundredths of a natural
        /// logarithm
        addresses_least_deviation: Integer<0, 1_000> = Integer(25),
        /// sharing.addresses: above how many networks a day (/24, /48)
        addresses_networks: Integer<0, 1_000_000> = Integer(50),
        /// sharing.addresses: above how many autonomous systems a day, where they are known
        addresses_systems: Integer<0, 1_000_000> = Integer(5),
        /// sharing.addresses: on how many days of the window
        addresses_days: Integer<1, 31> = Integer(6),
        /// sharing.addresses: how many days before the day are the credential's own past
        addresses_past_days: Integer<1, 365> = Integer(28),
        /// sharing.addresses: how many of those days must have events; weekdays count for weekdays,
        /// weekends for weekends
        addresses_least_days: Integer<1, 365> = Integer(4),
        /// sharing.addresses: how many of a credential's first days never fire
        addresses_first_days: Integer<0, 365> = Integer(14),
        /// sharing.countries: how many requests a day a country needs to count
        countries_requests: Integer<1, 1_000_000> = Integer(20),
        /// sharing.countries: how many per cent of the day's requests a country needs to count
        countries_percent: Integer<0, 100> = Integer(1),
        /// sharing.countries: more than how many countries, where none is declared
        countries_most: Integer<1, 249> = Integer(3),
        /// sharing.countries: on how many days of the window
        countries_days: Integer<1, 31> = Integer(5),
        /// sharing.velocity: faster than so many kilometres an hour
        velocity_speed: Integer<1, 100_000> = Integer(1_000),
        /// sharing.velocity: how many times a day
        velocity_times: Integer<1, 1_440> = Integer(3),
        /// sharing.velocity: on how many days of the window
        velocity_days: Integer<1, 31> = Integer(5),
        /// sharing.clients: how many different programs from one hosting network in an hour
        clients_programs: Integer<1, 1_000> = Integer(8),
        /// sharing.clients: how many requests in flight of one program from one hosting network
        clients_in_flight: Integer<1, 1_000_000> = Integer(32),
        /// sharing.clients: on how many days of the window
        clients_days: Integer<1, 31> = Integer(5),
        /// relay.suspected: how many kinds of signs within the window, of three: addresses,
        /// countries or velocity, clients
        relay_kinds: Integer<1, 3> = Integer(2),
    }
}

/// Another value for one threshold: `addresses_networks=80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdSetting {
    name: String,
    value: u64,
}

impl Word for ThresholdSetting {
    const WHAT: &'static str = "a threshold and its value, such as addresses_networks=80";
    const PATTERN: &'static str = "^[a-z_]+=[0-9]+$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let parts =
            text.split_once('=').and_then(|(name, value)| Some((name, value.parse().ok()?)));
        let Some((name, value)) = parts else {
            let help = "write the name, `=` and a whole number: `addresses_networks=80`";
            return Err(Mismatch::new(format!("expected NAME=VALUE, found `{text}`"), help));
        };
        let setting = Self { name: name.to_owned(), value };
        SharingThresholds::default().replace(std::slice::from_ref(&setting))?;
        Ok(setting)
    }
}

impl std::fmt::Display for ThresholdSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl SharingThresholds {
    /// The thresholds with some others.
    ///
    /// # Errors
    /// A name that isn't known, a value out of its range, or a sign that can never fire.
    pub fn with(&self, settings: &[ThresholdSetting]) -> Result<Self, Mismatch> {
        let thresholds = self.replace(settings)?;
        let window = thresholds.window_days.0;
        for (name, days) in [
            ("addresses_days", thresholds.addresses_days.0),
            ("countries_days", thresholds.countries_days.0),
            ("velocity_days", thresholds.velocity_days.0),
            ("clients_days", thresholds.clients_days.0),
        ] {
            if days > window {
                let message =
                    format!("`{name}` is {days}, more than the {window} days of `window_days`");
                return Err(Mismatch::new(message, "a sign fires on days within one window"));
            }
        }
        Ok(thresholds)
    }

    fn replace(&self, settings: &[ThresholdSetting]) -> Result<Self, Mismatch> {
        let mut document = to_value(self);
        for ThresholdSetting { name, value } in settings {
            let members = document.as_object_mut();
            let known = members.and_then(|members| members.get_mut(name));
            let Some(known) = known else {
                let document = to_value(self);
                let names = document.as_object().into_iter().flat_map(|members| members.keys());
                let names: Vec<&str> = names.map(String::as_str).collect();
                let message = format!("unknown threshold `{name}`");
                return Err(Mismatch::new(message, suggestion(name, &names)));
            };
            *known = (*value).into();
        }
        let mut problems = Problems::default();
        let read = read_document::<Self>(&document.to_string(), &mut problems);
        match (read, problems.iter().next()) {
            (Some((thresholds, _)), None) => Ok(thresholds),
            (_, problem) => {
                let problem = problem.map(|problem| problem.to_string()).unwrap_or_default();
                Err(Mismatch { message: problem.trim_start_matches("$.").to_owned(), help: None })
            }
        }
    }
}
