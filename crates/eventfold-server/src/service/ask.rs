//! What is known of streams, and of the server.

use eventfold_db::StreamInfo;
use eventfold_proto::convert::{Failed, failure_of, info_to_wire, stream_from_wire};
use eventfold_proto::v1;

use super::{Call, Service};
use crate::access::Role;
use crate::options::count;

impl Service {
    pub(super) async fn info(
        &self,
        call: &Call,
        request: v1::StreamInfoRequest,
    ) -> Result<v1::StreamInfoResponse, Failed> {
        let stream = stream_from_wire(request.stream, "stream")?;
        call.access.check_stream(&[Role::Read, Role::Append], &stream, &self.reads).await?;
        let info = self.reads.in_background().stream_info(stream).await.map_err(|error| failure_of(&error))?;
        Ok(v1::StreamInfoResponse { stream: info.as_ref().map(info_to_wire) })
    }

    pub(super) async fn list(
        &self,
        call: &Call,
        request: v1::ListStreamsRequest,
    ) -> Result<v1::ListStreamsResponse, Failed> {
        let max = count(request.max_count.map_or(self.limits.page_streams, |max| max.min(self.limits.page_streams)));
        let prefixes = call.access.listed(&request.prefix)?;
        let listed = self.reads.offload(move |log| {
            let mut streams = Vec::new();
            for prefix in &prefixes {
                if streams.len() < max {
                    streams.extend(log.streams(prefix, request.after.as_deref(), max - streams.len())?);
                }
            }
            Ok(streams)
        });
        let streams: Vec<StreamInfo> = listed.await.map_err(|error| failure_of(&error))?;
        let is_full = !streams.is_empty() && streams.len() == max;
        let last = streams.last().and_then(|info| info.name.as_ref()).map(ToString::to_string);
        Ok(v1::ListStreamsResponse {
            streams: streams.iter().map(info_to_wire).collect(),
            next_after: last.filter(|_| is_full),
        })
    }

    pub(super) fn describe(&self) -> v1::StatusResponse {
        let stats = self.writer.stats();
        v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: eventfold_proto::convert::uuid_to_wire(self.reads.log().store_id()),
            position: self.reads.global_position(),
            uptime: u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX),
            poisoned: self.reads.log().poison().map(|poison| poison.to_string()),
            recovery: self.recovery.clone(),
            queued_requests: stats.queued_requests as u64,
            queued_bytes: stats.queued_bytes as u64,
            appends: stats.appends,
            events: stats.events,
            subscriptions: self.gate.subscriptions.now(),
            connections: self.gate.connections.now(),
        }
    }
}
