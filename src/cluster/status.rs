//! `spreadwire cluster status`: who is there, who leads what, under which token, and how late. Reads Redis and changes
//! nothing there, since this process is not a member. On the main thread.

use crate::cluster::ClusterSettings;
use crate::cluster::error::StoreError;
use crate::cluster::store::{ClusterMember, ClusterView, Lease, Store};
use crate::log::tamed;
use crate::protocol::{Object, array, float, object};
use crate::time::{MS, SECOND};

/// The leader of one venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// Its name.
    pub venue: String,
    /// `None`: it has no leader.
    pub lease: Option<Lease>,
    /// How long ago the leader last wrote a latest value, by Redis' own clock, in nanoseconds; `None`: none is left.
    pub(crate) newest_ns: Option<u64>,
}

/// A cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Instances that are alive, by id.
    pub members: Vec<ClusterMember>,
    /// The venues that were asked for, in that order.
    pub venues: Vec<Led>,
    /// Values under the cluster's keys that are not the cluster's.
    pub refused: u64,
}

/// Looks at the cluster of `settings`; `venues` with their symbols.
///
/// # Errors
/// Why Redis gives no answer; [`StoreError::Gone`] also for an address that is none.
pub fn look(settings: &ClusterSettings, venues: &[(&str, Vec<&str>)]) -> Result<ClusterStatus, StoreError> {
    let mut store = Store::new(settings).map_err(StoreError::Gone)?;
    let names: Vec<&str> = venues.iter().map(|(venue, _)| *venue).collect();
    let view = store.look(&names)?;
    let wanted: Vec<(&str, &str)> =
        venues.iter().flat_map(|(venue, symbols)| symbols.iter().map(|symbol| (*venue, *symbol))).collect();
    let kept = store.latest(&wanted)?;
    let newest = |venue: &str| kept.iter().filter(|kept| wanted[kept.at].0 == venue).map(|kept| kept.since_ns).min();
    let ClusterView { mut members, leases, refused } = view;
    // What a member says of itself is as old as its last word; the leases are of now.
    for member in &mut members {
        member.leads = leases.iter().filter(|(_, lease)| lease.owner == member.id).count() as u32;
    }
    let led = |venue: &str| Led {
        venue: venue.to_owned(),
        lease: leases.iter().find(|(name, _)| name == venue).map(|(_, lease)| lease.clone()),
        newest_ns: newest(venue),
    };
    let venues = names.into_iter().map(led).collect();
    Ok(ClusterStatus { members, venues, refused })
}

impl ClusterStatus {
    /// Names of the venues without a leader.
    pub fn leaderless(&self) -> impl Iterator<Item = &str> {
        self.venues.iter().filter(|led| led.lease.is_none()).map(|led| led.venue.as_str())
    }

    /// Two tables for people, each line with its end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut members = vec![["instance", "host", "leads", "lag"].map(str::to_owned)];
        members.extend(self.members.iter().map(|member| {
            [tamed(&member.id), tamed(&member.hostname), member.leads.to_string(), milliseconds(member.lag_ns)]
        }));
        let mut venues =
            vec![["exchange", "leader", "host", "token", "lease ends in", "newest value", "heir"].map(str::to_owned)];
        venues.extend(self.venues.iter().map(|led| {
            let newest = led.newest_ns.map_or_else(|| "-".to_owned(), |ns| format!("{} ago", milliseconds(ns)));
            match &led.lease {
                Some(lease) => [
                    led.venue.clone(),
                    tamed(&lease.owner),
                    tamed(&lease.hostname),
                    lease.token.to_string(),
                    format!("{:.1} s", lease.left_ns as f64 / SECOND as f64),
                    newest,
                    lease.successor.as_deref().map_or_else(|| "-".to_owned(), tamed),
                ],
                None => [&led.venue, "nobody", "-", "-", "-", &newest, "-"].map(str::to_owned),
            }
        }));
        let strange = match self.refused {
            0 => String::new(),
            n => format!("\n{n} values under these keys are not the cluster's.\n"),
        };
        format!("{}\n{}{strange}", table(&members), table(&venues))
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        object(|root| {
            array(&self.members, root.key("members"), |member, out| {
                let mut o = Object::open(out);
                o.text("instance", &member.id).text("hostname", &member.hostname);
                o.integer("leads", u64::from(member.leads));
                float(member.lag_ns as f64 / 1e6, o.key("lagMs"));
                o.close();
            });
            array(&self.venues, root.key("venues"), |led, out| {
                let mut o = Object::open(out);
                o.text("exchange", &led.venue);
                let lease = led.lease.as_ref();
                for (name, text) in [
                    ("leader", lease.map(|lease| lease.owner.as_str())),
                    ("leaderHostname", lease.map(|lease| lease.hostname.as_str())),
                    ("heir", lease.and_then(|lease| lease.successor.as_deref())),
                ] {
                    match text {
                        Some(text) => o.text(name, text),
                        None => o.null(name),
                    };
                }
                for (name, number) in [
                    ("token", lease.map(|lease| lease.token)),
                    ("leaseLeftMs", lease.map(|lease| lease.left_ns / MS)),
                    ("newestValueMs", led.newest_ns.map(|ns| ns / MS)),
                ] {
                    match number {
                        Some(number) => o.integer(name, number),
                        None => o.null(name),
                    };
                }
                o.close();
            });
            root.integer("foreignValues", self.refused);
        })
    }
}

fn milliseconds(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / MS as f64)
}

/// Columns as wide as their widest word, two blanks between them.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(word, width)| format!("{word:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> ClusterStatus {
        let lease = Lease {
            token: 17,
            owner: "a_1_2".into(),
            hostname: "a".into(),
            successor: Some("b_3_4".into()),
            left_ns: 4_120 * MS,
        };
        let led = |venue: &str, lease, newest_ns| Led { venue: venue.into(), lease, newest_ns };
        ClusterStatus {
            members: vec![
                ClusterMember { id: "a_1_2".into(), hostname: "a".into(), leads: 1, lag_ns: 0 },
                ClusterMember { id: "b_3_4\u{1b}[31m".into(), hostname: "b".into(), leads: 0, lag_ns: 420_000 },
            ],
            venues: vec![led("binance", Some(lease), Some(30 * MS)), led("okx", None, None)],
            refused: 2,
        }
    }

    #[test]
    fn people_see_who_leads_what() {
        let expected = "\
instance    host  leads  lag
a_1_2       a     1      0.0 ms
b_3_4 [31m  b     0      0.4 ms

exchange  leader  host  token  lease ends in  newest value  heir
binance   a_1_2   a     17     4.1 s          30.0 ms ago   b_3_4
okx       nobody  -     -      -              -             -

2 values under these keys are not the cluster's.
";
        assert_eq!(status().text(), expected);
        assert_eq!(status().leaderless().collect::<Vec<_>>(), ["okx"]);
    }

    #[test]
    fn programs_read_json() {
        let value: serde_json::Value = serde_json::from_slice(&status().json()).unwrap();
        assert_eq!(value["members"][1]["lagMs"], 0.42);
        assert_eq!(value["venues"][0]["leaseLeftMs"], 4120);
        assert_eq!(value["venues"][1]["leader"], serde_json::Value::Null);
        assert_eq!(value["foreignValues"], 2);
    }
}
