//! Pages, and the API behind them.

pub mod operator;
