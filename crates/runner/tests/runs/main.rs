//! A lane on a real repository and real processes.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod full;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod parallel;
mod verdicts;
mod when;
#[cfg(test)]
mod world;
