//! SubmitQueue's tables as published (Ananthanarayanan et al., "Keeping Master Green at Scale", EuroSys 2019):
//! turnaround over the Oracle's.

/// Rows of the tables.
pub const PER_HOUR: [u32; 5] = [500, 400, 300, 200, 100];

/// Columns of the tables.
pub const WORKERS: [usize; 5] = [100, 200, 300, 400, 500];

/// Medians, by row and column.
pub const P50: [[f64; 5]; 5] = [
    [2.56, 1.77, 1.49, 1.38, 1.26],
    [2.57, 1.87, 1.59, 1.47, 1.42],
    [2.52, 1.87, 1.44, 1.31, 1.28],
    [2.98, 2.04, 1.92, 1.72, 1.54],
    [1.83, 1.00, 1.02, 1.00, 1.00],
];

/// 99th percentiles, by row and column.
pub const P99: [[f64; 5]; 5] = [
    [2.87, 1.84, 1.52, 1.39, 1.21],
    [3.25, 2.00, 1.62, 1.51, 1.35],
    [3.55, 2.45, 1.83, 1.54, 1.53],
    [3.95, 2.57, 1.95, 1.63, 1.51],
    [2.19, 1.65, 1.46, 1.38, 1.25],
];

/// One change after the other, at 500 an hour: P50, P95 and P99.
pub const SINGLE_QUEUE: [f64; 3] = [80.0, 129.0, 132.0];
