mod facts;
mod intake;
mod landing;
mod lanes;
mod matrix;
mod memory;
mod merge;
mod plan;
mod recovery;
mod runners;
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
    /// For `merge`, `symbols`, `matrix` and `lanes`: repositories, bare or not; nothing is written to them.
    #[arg(long, value_name = "REPO")]
    repository: Vec<PathBuf>,
    /// For `matrix`: how many branch heads are pending at once; each number is measured.
    #[arg(long, value_delimiter = ',', default_value = "100,300")]
    heads: Vec<usize>,
    /// For `matrix`: where these heads stand.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "one-base,as-they-are")]
    placed: Vec<matrix::Placed>,
    /// For `lanes`: what is run on each change of the first repository.
    #[arg(long, default_value = "cargo check --quiet --workspace")]
    gate: String,
    /// For `lanes`: how many of the changes are also run in a new clone.
    #[arg(long, default_value_t = 20)]
    fresh: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Intake,
    Merge,
    Matrix,
    Landing,
    Startup,
    Memory,
    Recovery,
    Symbols,
    Plan,
    Runners,
    Lanes,
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
    if wanted(What::Matrix) {
        print!("{}", matrix::table(&options.repository, &options.heads, &options.placed)?);
    }
    if wanted(What::Lanes) {
        print!("{}", lanes::switches()?);
        for repository in options.repository.iter().take(1) {
            print!("{}", lanes::project(repository, &options.gate, options.fresh)?);
        }
    }
    let alone = [What::Merge, What::Symbols, What::Plan, What::Matrix, What::Lanes];
    if options.what.iter().all(|what| alone.contains(what)) {
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
        print!("{}", Box::pin(startup::table(&program, rounds)).await?);
    }
    if wanted(What::Recovery) {
        print!("{}", recovery::table(&program, rounds).await?);
    }
    if wanted(What::Runners) {
        print!("{}", runners::table(&program, rounds).await?);
    }
    if wanted(What::Memory) {
        print!("{}", memory::table(&program, rounds).await?);
    }
    Ok(())
}
