//! The report as one HTML page that needs nothing but itself.

use std::fmt::Write as _;

use super::Report;
use super::plot::{Curve, escaped, plot};
use super::score::Point;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:900px;padding:0 1rem;color:#222}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{border-bottom:1px solid #ddd;padding:.3rem .5rem;text-align:right}th:first-child,td:first-child{text-align:left}\
figure{margin:1.5rem 0}svg{width:100%;height:auto}.grid{stroke:#e4e4e4}.mark{stroke:#a00;stroke-dasharray:5 4}\
.curve{fill:none;stroke-width:1.6}text{font-size:11px;fill:#555}.y{text-anchor:end}.x{text-anchor:middle}\
.legend span{margin-right:1rem}h1{font-size:1.4rem}h2{font-size:1.1rem}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#aaa}.grid{stroke:#333}th,td{border-color:#333}}";
/// Routers that the page lists, most refused first.
const ROUTERS_SHOWN: usize = 20;

/// A page about one or more policies over the same traffic.
pub fn page(title: &str, notes: &[String], reports: &[Report]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
        escaped(title)
    );
    for note in notes {
        let _ = write!(page, "<p>{}</p>", escaped(note));
    }
    summary(&mut page, reports);
    let curves = |value: &dyn Fn(&Point) -> f64| -> Vec<Curve<'_>> {
        let curve = |report: &'_ Report| Curve {
            name: report.policy.name(),
            points: report.points.iter().map(|point| (point.hour, value(point))).collect(),
        };
        reports.iter().map(curve).collect()
    };
    page += &plot("Refused connections", "in each part of the time", &curves(&|point| point.refused as f64), None);
    let mut loads = curves(&|point| point.load);
    if let Some(first) = reports.first() {
        let points = first.points.iter().map(|point| (point.hour, point.load_unshifted)).collect();
        loads.push(Curve { name: "unshifted", points });
    }
    page += &plot("Fullest router", "held over what may be held before the threshold", &loads, Some(1.0));
    page +=
        &plot("Largest shift", "percent of a router's new connections", &curves(&|point| point.shift_percent), None);
    routers(&mut page, reports);
    page + "</html>\n"
}

fn summary(page: &mut String, reports: &[Report]) {
    *page += "<table><tr><th>policy</th><th>refused</th><th>broken</th><th>below threshold, s</th><th>lead, s</th>\
              <th>false shifts</th><th>churn</th><th>shifted</th><th>worst shadow headroom</th><th>replication, MB</th></tr>";
    for report in reports {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{} of {}</td><td>{:.0}</td>\
             <td>{}</td><td>{}</td><td>{:.1}</td></tr>",
            report.policy.name(),
            report.refused_connections,
            report.broken_connections,
            report.overload_seconds,
            report.lead_time_s,
            report.false_shifts,
            report.shifts,
            report.shift_churn,
            report.shifted_connections,
            report.worst_shadow_headroom,
            report.replication_bytes as f64 / 1e6
        );
    }
    *page += "</table>";
}

fn routers(page: &mut String, reports: &[Report]) {
    for report in reports {
        let mut listed: Vec<_> = report.routers.iter().collect();
        listed.sort_by_key(|router| (std::cmp::Reverse((router.refused, router.refused_unshifted)), &router.router));
        let _ = write!(
            page,
            "<h2>{}: routers</h2><table><tr><th>router</th><th>capacity</th><th>peak</th><th>peak unshifted</th>\
             <th>refused</th><th>refused unshifted</th><th>below threshold, s</th><th>largest shift, %</th></tr>",
            report.policy.name()
        );
        for router in listed.iter().take(ROUTERS_SHOWN) {
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.1}</td></tr>",
                escaped(&router.router),
                router.capacity,
                router.peak_occupied,
                router.peak_occupied_unshifted,
                router.refused,
                router.refused_unshifted,
                router.overload_seconds,
                router.peak_shift_percent
            );
        }
        *page += "</table>";
    }
}
