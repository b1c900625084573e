use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Trouble;

/// What something took: on the wall, and of processors, by this process and those that it waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Cost) {
        self.wall += more.wall;
        self.cpu += more.cpu;
    }
}

impl std::ops::Div<u32> for Cost {
    type Output = Cost;

    fn div(self, by: u32) -> Cost {
        Cost { wall: self.wall / by.max(1), cpu: self.cpu / by.max(1) }
    }
}

/// Does something and says what it took. What children need is counted in hundredths of a second.
pub(crate) fn cost<T>(what: impl FnOnce() -> Result<T, Trouble>) -> Result<(T, Cost), Trouble> {
    let (started, before) = (Instant::now(), spent()?);
    let done = what()?;
    Ok((done, Cost { wall: started.elapsed(), cpu: spent()?.saturating_sub(before) }))
}

fn spent() -> Result<Duration, Trouble> {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::new(u64::try_from(own.tv_sec)?, u32::try_from(own.tv_nsec)?);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no /proc/self/stat")?;
    // Ticks of children that were waited for: the 16th and 17th field, and the 3rd comes first here.
    let ticks: u64 = fields.split_whitespace().skip(13).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(own + Duration::from_millis(ticks * 10))
}
