use crate::BusError;
use yardmaster_protocol::RunReport;
/// How runs went.
#[derive(Debug)]
pub struct Reports {}

impl Reports {
    /// The next report; waits through outages.
    pub async fn next(&mut self) -> Result<(RunReport, ReportAck), BusError> {
        unimplemented!()
    }
}
/// To be acked once the report is in the journal.
#[derive(Debug)]
pub struct ReportAck {}

impl ReportAck {
    /// It is in the journal.
    pub async fn ack(self) -> Result<(), BusError> {
        unimplemented!()
    }
}
