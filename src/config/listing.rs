//! The effective configuration as TOML, each key with a comment that names the origin of its value. Parsing it gives
//! the same configuration, except for passwords and the admin token, which are never shown.

use crate::cluster::address::Address;
use crate::config::read::Draft;
use crate::config::{ConfigPlace, VenueConfig};
use crate::market::VenueId;
use crate::market::directory::AssetClaim;
use crate::settings::Section as _;
use crate::settings::quoted_toml;

/// Writes the effective values, once all of them are known.
pub(super) fn list(
    draft: &mut Draft,
    venues: &[VenueConfig],
    instruments: &[String],
    price_order: &[VenueId],
) -> String {
    let places = draft.places.clone();
    let redis = draft.cluster.redis.clone();
    let token = draft.admin.token.clone();
    let sentinel_password = draft.cluster.sentinel_password.clone();
    let place = |path: &str| places.get(path).cloned().unwrap_or_default();
    let name = |venue: &VenueConfig| venue.name().to_owned();
    let mut out = String::new();
    line(&mut out, "venues", &listed(venues.iter().map(name)), &place("venues"));
    line(&mut out, "instruments", &listed(instruments.iter().cloned()), &place("instruments"));
    for key in draft.process.keys() {
        line(&mut out, key.name, &key.slot.toml(), &place(key.name));
    }
    for (section, keys) in draft.sections() {
        let venue = section.strip_prefix("venue.");
        let configured = venue.map(|name| venues.iter().find(|venue| venue.name() == name));
        if configured == Some(None) {
            continue;
        }
        out.push_str(&format!("\n[{section}]\n"));
        for key in keys {
            let path = format!("{section}.{}", key.name);
            let value = match path.as_str() {
                "admin.token" => quoted_toml(""),
                "cluster.sentinel_password" => quoted_toml(""),
                "cluster.redis" => quoted_toml(&Address::without_password(&redis)),
                _ => key.slot.toml(),
            };
            let is_hidden = path == "admin.token" && !token.is_empty()
                || path == "cluster.sentinel_password" && !sentinel_password.is_empty();
            if is_hidden {
                noted(&mut out, key.name, &value, &format!("{}; set, never shown", place(&path)))
            } else {
                line(&mut out, key.name, &value, &place(&path))
            }
        }
        if section == "quotes" {
            let order = price_order.iter().map(|id| name(&venues[id.index()]));
            line(&mut out, "price_order", &listed(order), &place("quotes.price_order"));
        }
        if let Some(Some(venue)) = configured {
            let own = format!("{section}.instruments");
            let quoted = instruments.iter().zip(&venue.native).filter(|(_, native)| native.is_some());
            let from = places.get(&own).cloned().unwrap_or_else(|| place("instruments"));
            line(&mut out, "instruments", &listed(quoted.map(|(symbol, _)| symbol.clone())), &from);
            for (key, claim) in [("same_asset", AssetClaim::Same), ("other_asset", AssetClaim::Other)] {
                let named = listed(venue.claimed(claim).map(str::to_owned));
                line(&mut out, key, &named, &place(&format!("{section}.{key}")));
            }
        }
    }
    out
}

fn line(out: &mut String, key: &str, value: &str, place: &ConfigPlace) {
    noted(out, key, value, &place.to_string());
}

fn noted(out: &mut String, key: &str, value: &str, note: &str) {
    out.push_str(&format!("{:<width$} # {note}\n", format!("{key} = {value}"), width = COMMENT_COLUMN));
}

const COMMENT_COLUMN: usize = 48;

fn listed(texts: impl Iterator<Item = String>) -> String {
    format!("[{}]", texts.map(|text| quoted_toml(&text)).collect::<Vec<_>>().join(", "))
}
