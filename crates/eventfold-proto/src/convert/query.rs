//! Queries, and what is known of streams.

use bytes::Bytes;
use eventfold_store::{EventType, Query, QueryItem, StreamInfo, StreamName};

use super::event::{id_from_wire, stream_from_wire, stream_to_wire, tags_from_wire, uuid_to_wire};
use super::malformed::{Malformed, in_element};
use crate::v1;

/// A query, be it valid or not.
pub fn query_to_wire(query: &Query) -> v1::Query {
    let item = |item: &QueryItem| v1::QueryItem {
        types: item.types.iter().cloned().map(Bytes::from).collect(),
        tags: item.tags.iter().cloned().map(Bytes::from).collect(),
        stream: item.stream.as_ref().map(stream_to_wire),
        stream_prefix: item.stream_prefix.clone(),
    };
    v1::Query { all: query.all, items: query.items.iter().map(item).collect() }
}

/// The query in a field of this name. Whether it keeps the limits is still to be checked.
///
/// # Errors
///
/// [`Malformed`] where it is missing, or has an id that is none or a text that is not UTF-8.
pub fn query_from_wire(query: Option<v1::Query>, field: &'static str) -> Result<Query, Malformed> {
    let query = query.ok_or_else(|| Malformed::missing(field))?;
    let item = |(index, item)| item_from_wire(item).map_err(in_element("items", index));
    let items: Result<_, Malformed> = query.items.into_iter().enumerate().map(item).collect();
    Ok(Query { all: query.all, items: items.map_err(|malformed| malformed.within(field))? })
}

fn item_from_wire(item: v1::QueryItem) -> Result<QueryItem, Malformed> {
    let of_type = |(index, bytes)| {
        EventType::try_from(bytes).map_err(|_| in_element("types", index)(Malformed::new("", "has to be UTF-8")))
    };
    Ok(QueryItem {
        types: item.types.into_iter().enumerate().map(of_type).collect::<Result<_, _>>()?,
        tags: tags_from_wire(item.tags)?,
        stream: item.stream.map(|stream| stream_from_wire(Some(stream), "stream")).transpose()?,
        stream_prefix: item.stream_prefix,
    })
}

/// What is known of a stream.
pub fn info_to_wire(info: &StreamInfo) -> v1::StreamInfo {
    v1::StreamInfo {
        id: uuid_to_wire(info.id),
        name: info.name.as_ref().map(StreamName::to_string),
        version: info.version,
    }
}

/// What is known of a stream.
///
/// # Errors
///
/// [`Malformed`] where the id or the name is none.
pub fn info_from_wire(info: v1::StreamInfo) -> Result<StreamInfo, Malformed> {
    let name = info.name.map(|name| StreamName::new(&name)).transpose();
    let name = name.map_err(|_| Malformed::new("name", "is no stream's name"))?;
    Ok(StreamInfo::new(id_from_wire(&info.id, "id")?, name, info.version))
}
