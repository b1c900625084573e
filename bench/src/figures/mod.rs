mod facts;
mod intake;
mod landing;
mod memory;
mod merge;
mod plan;
mod recovery;
mod startup;
mod symbols;

use std::path::PathBuf;

use crate::Trouble;
use crate::daemon::Program;

/// Measures the daemon beside what it stands on, several rounds each, and prints tables.
#[derive(Debug, clap::Parser)]
#[command(name = "figures")]
pub struct Figures {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Rounds; medians are shown, with the lowest and the highest.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// For `merge` and `symbols`: repositories, bare or not; nothing is written to them.
    #[arg(long, value_name = "REPO")]
    repository: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Intake,
    Merge,
    Landing,
    Startup,
    Memory,
    Recovery,
    Symbols,
    Plan,
    All,
}

/// Prints a table for each thing that was asked for.
///
/// # Errors
/// When the daemon, its server or git do not work.
pub async fn figures(options: Figures) -> Result<(), Trouble> {
    let wanted = |what: What| options.what.iter().any(|w| *w == what || *w == What::All);
    let rounds = options.rounds.max(1);
    if wanted(What::Merge) {
        print!("{}", merge::table(&options.repository)?);
    }
    if wanted(What::Symbols) {
        print!("{}", symbols::table(&options.repository)?);
    }
    if wanted(What::Plan) {
        print!("{}", plan::table(rounds)?);
    }
    if options.what.iter().all(|w| matches!(w, What::Merge | What::Symbols | What::Plan)) {
        return Ok(());
    }
    let program = Program::find()?;
    if wanted(What::Intake) {
        print!("{}", intake::table(&program, rounds).await?);
    }
    if wanted(What::Landing) {
        print!("{}", landing::table(&program, rounds).await?);
    }
    if wanted(What::Startup) {
        print!("{}", startup::table(&program, rounds).await?);
    }
    if wanted(What::Recovery) {
        print!("{}", recovery::table(&program, rounds).await?);
    }
    if wanted(What::Memory) {
        print!("{}", memory::table(&program, rounds).await?);
    }
    Ok(())
}
