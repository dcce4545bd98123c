//! Results as a table for people.

use super::engine::Report;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// One row for each scaler.
pub fn of(reports: &[Report]) -> Table {
    const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    const HEADER: [&str; 12] = [
        "scaler",
        "joins",
        "refused",
        "over\nbudget",
        "waited",
        "wait\np95",
        "placed\n≤ 10 s",
        "most\nnodes",
        "node-\nhours",
        "of the\nfewest",
        "cost",
        "turns\n(an hour)",
    ];
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled).set_header(HEADER);
    for report in reports {
        table.add_row([
            report.scaler.clone(),
            report.joins.to_string(),
            report.refused.to_string(),
            report.over_admitted.to_string(),
            report.waited.to_string(),
            format!("{:.0} s", report.wait_p95_s),
            report.placed_at_once.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
            report.most_nodes.to_string(),
            format!("{:.1}", report.node_hours),
            format!("{:.2}", report.over_fewest),
            format!("{:.2}", report.cost),
            format!("{} ({})", report.reversals, report.reversals_worst_hour),
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
