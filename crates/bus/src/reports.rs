use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use yardmaster_protocol::RunReport;

use crate::bus::Inner;
use crate::consumer::Durable;
use crate::error::away;
use crate::inbox::{answer, term};
use crate::{BusError, jobs};

const CONSUMER: &str = "engine";
const BATCH: usize = 100;
const ACK_WAIT: Duration = Duration::from_secs(30);
const MAX_ACK_PENDING: i64 = 1_000;

pub(crate) async fn publish(inner: &Inner, report: &RunReport) -> Result<(), BusError> {
    let payload = serde_json::to_vec(report).map_err(|e| away("encode a report", &e))?;
    let subject = &inner.names.report_subject;
    jobs::send(inner, "publish a report", subject, HeaderMap::new(), payload).await.map(|_| ())
}

/// How runs went, each until it is acked.
#[derive(Debug)]
pub struct Reports {
    source: Durable,
}

impl Reports {
    pub(crate) fn new(inner: &Arc<Inner>) -> Reports {
        let config = pull::Config {
            filter_subject: inner.names.report_subject.clone(),
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        Reports { source: Durable::new(inner, &inner.names.jobs_stream, CONSUMER, BATCH, config) }
    }

    /// The next report; waits through outages. One that is not acked comes again. Safe to drop at any point.
    ///
    /// # Errors
    /// `ConsumerCannotServe`, or `Away` when the connection is closed for good.
    pub async fn next(&mut self) -> Result<(RunReport, ReportAck), BusError> {
        loop {
            let message = self.source.next().await?;
            match serde_json::from_slice(&message.payload) {
                Ok(report) => return Ok((report, ReportAck { message })),
                Err(error) => {
                    tracing::warn!(%error, "a report cannot be understood");
                    answer(&message, term(&format!("not a report: {error}"))).await?;
                }
            }
        }
    }
}

/// To be acked once the report is in the journal.
#[derive(Debug)]
pub struct ReportAck {
    message: Message,
}

impl ReportAck {
    /// It is in the journal.
    ///
    /// # Errors
    /// `Away` when the connection is closed for good.
    pub async fn ack(self) -> Result<(), BusError> {
        answer(&self.message, Bytes::from_static(b"+ACK")).await
    }
}
