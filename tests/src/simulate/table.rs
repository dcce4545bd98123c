//! Results as a table for people.

use super::engine::Report;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// One row for each policy. Narrow, and never broken within a cell: 80 columns hold all but the longest numbers.
pub fn of(reports: &[Report]) -> Table {
    const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    const HEADER: [&str; 11] = [
        "policy",
        "joins",
        "refused",
        "effi-\nciency",
        "peak",
        "max/\nmean",
        "over\nbudget",
        "pipes",
        "moves",
        "wait\np99",
        "took",
    ];
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled).set_header(HEADER);
    for report in reports {
        table.add_row([
            report.policy.clone(),
            report.joins.to_string(),
            report.refused.to_string(),
            report.efficiency.map_or_else(|| "–".to_owned(), percent),
            percent(report.peak),
            format!("{:.2}", report.max_over_mean),
            report.over_admitted.to_string(),
            percent(report.pipe_share),
            report.moves.to_string(),
            format!("{:.2} s", report.wait_p99_s),
            format!("{:.1} s", report.elapsed_s),
        ]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // The style itself leaves a space between columns.
        column.set_padding((0, 0));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_row() {
        let report = Report {
            policy: "fixed-room".to_owned(),
            workload: "burst".to_owned(),
            seed: 1,
            nodes: 10,
            joins: 500,
            refused: 0,
            efficiency: None,
            peak: 0.8314,
            max_over_mean: 1.25,
            over_admitted: 3,
            pipe_share: 0.0,
            moves: 0,
            wait_p99_s: 0.0,
            free_at_first_refusal: None,
            first_refusal_at_s: None,
            elapsed_s: 0.02,
            capacity: 1_000,
        };
        let table = of(&[report]);
        let shown = table.to_string();
        let row = shown.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        let expected =
            "fixed-room 500 0 – 83.1 % 1.25 3 0.0 % 0 0.00 s 0.0 s".split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, expected, "{shown}");
    }
}
