//! How far countries are from each other, by the shortest way between them.

use std::collections::HashMap;

use crate::shape::Json;
use crate::terms::region::CountryCode;

/// The table that this build carries (`data/country-distances.json`).
#[derive(Debug)]
pub struct CountryDistances {
    places: HashMap<CountryCode, usize>,
    /// Tens of kilometres: of each country to those before it, in the order of the alphabet
    rows: Vec<Vec<u16>>,
}

impl CountryDistances {
    /// Reads the table. A test reads it too, so that it is never silently empty.
    pub fn known() -> Self {
        let table: Json = serde_json::from_str(include_str!("../../data/country-distances.json"))
            .unwrap_or(Json::Null);
        let rows = table.get("tens_of_km").map(Json::members).unwrap_or_default();
        let mut known = Self { places: HashMap::new(), rows: Vec::new() };
        for (code, row) in rows {
            if let Some(code) = CountryCode::from_bytes(code.as_bytes()) {
                known.places.insert(code, known.rows.len());
            }
            let (pairs, _) = row.as_str().unwrap_or_default().as_bytes().as_chunks::<2>();
            known.rows.push(pairs.iter().map(|[high, low]| tens(*high, *low)).collect());
        }
        known
    }

    /// Kilometres by the shortest way, rounded down; 0 for neighbours, and where it isn't known.
    pub fn between(&self, one: CountryCode, another: CountryCode) -> u32 {
        let (Some(one), Some(another)) = (self.places.get(&one), self.places.get(&another)) else {
            return 0;
        };
        let (low, high) = (one.min(another), one.max(another));
        let tens = self.rows.get(*high).and_then(|row| row.get(*low));
        u32::from(tens.copied().unwrap_or(0)).saturating_mul(10)
    }
}

/// Two digits of base 36.
fn tens(high: u8, low: u8) -> u16 {
    let digit = |digit: u8| char::from(digit).to_digit(36).unwrap_or(0);
    u16::try_from(digit(high).saturating_mul(36).saturating_add(digit(low))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let known = CountryDistances::known();
        let between = |one: &str, another: &str| {
            let code = |text: &str| CountryCode::from_bytes(text.as_bytes()).unwrap();
            known.between(code(one), code(another))
        };
        assert!(known.places.len() > 240, "{}", known.places.len());
        for (one, another) in [("DE", "FR"), ("US", "MX"), ("US", "CA"), ("DE", "DE")] {
            assert_eq!(between(one, another), 0, "{one} {another}");
        }
        assert_eq!(between("DE", "BR"), between("BR", "DE"));
        for (one, another, least, most) in
            [("DE", "GB", 200, 400), ("DE", "SG", 8_000, 11_000), ("CH", "SE", 500, 1_200)]
        {
            let km = between(one, another);
            assert!((least..most).contains(&km), "{one} {another}: {km}");
        }
    }
}
