//! What a caller may do.

use std::sync::Arc;

use eventfold_db::{Append, Condition, MAX_QUERY_ITEMS, Query, QueryItem, ReadIndex, StreamRef};
use eventfold_proto::convert::{Failed, failure_of};
use eventfold_proto::v1::failure::Cause;
use eventfold_proto::v1::{Advice, Forbidden, Invalid};
use serde::{Deserialize, Serialize};
use tonic::Code;

/// What may be done to the streams of a [`Grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reading events and following them.
    Read,
    /// Appending events, under conditions on the same streams.
    Append,
    /// Both. On all streams it is also looking after the store: backups, exports, imports.
    Admin,
}

impl Role {
    fn gives(self, other: Self) -> bool {
        self == other || self == Self::Admin
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Append => "append",
            Self::Admin => "admin",
        }
    }
}

/// A role, on the streams whose names begin with a prefix. The empty prefix is all streams, also those without a name, and events
/// of no stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// To which streams. It has to be written even where it is empty, so that nobody gives all by leaving something out.
    pub prefix: String,
}

/// What a caller may do: everything, or what its grants say.
#[derive(Clone, Debug)]
pub(crate) struct Access(Option<Arc<[Grant]>>);

impl Access {
    pub(crate) fn everything() -> Self {
        Self(None)
    }

    pub(crate) fn of(grants: Arc<[Grant]>) -> Self {
        Self(Some(grants))
    }

    /// Whether nothing is to be checked.
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the role is given on every stream.
    fn everywhere(&self, role: Role) -> bool {
        let Some(grants) = &self.0 else { return true };
        grants.iter().any(|grant| grant.role.gives(role) && grant.prefix.is_empty())
    }

    /// The prefixes that a role is given for, in order, without those that begin with another.
    fn prefixes(&self, role: Role) -> Vec<&str> {
        let grants = self.0.as_deref().unwrap_or_default().iter().filter(|grant| grant.role.gives(role));
        let mut prefixes: Vec<_> = grants.map(|grant| grant.prefix.as_str()).collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, shorter| longer.starts_with(*shorter));
        prefixes
    }

    /// Some role on some streams, for what tells nothing of any.
    pub(crate) fn check_any(&self) -> Result<(), Failed> {
        let has_any = self.0.as_ref().is_none_or(|grants| !grants.is_empty());
        if has_any { Ok(()) } else { Err(forbidden(Role::Read, None)) }
    }

    /// Looking after the store as a whole.
    pub(crate) fn check_admin(&self) -> Result<(), Failed> {
        if self.everywhere(Role::Admin) { Ok(()) } else { Err(forbidden(Role::Admin, None)) }
    }

    /// One of these roles on a stream.
    pub(crate) async fn check_stream(
        &self,
        roles: &[Role],
        stream: &StreamRef,
        reads: &ReadIndex,
    ) -> Result<(), Failed> {
        if roles.iter().any(|role| self.everywhere(*role)) {
            return Ok(());
        }
        let resolved = stream.resolve().map_err(|error| failure_of(&error.into()))?;
        // A stream that is given by its id has the name that is stored with it.
        let name = match resolved.name {
            Some(name) => Some(name),
            None if resolved.id.is_nil() => None,
            None => {
                let info = reads.in_background().stream_info(resolved.id).await;
                info.map_err(|error| failure_of(&error))?.and_then(|info| info.name)
            }
        };
        let may = |prefix: &str| name.as_ref().is_some_and(|name| name.as_str().starts_with(prefix));
        if roles.iter().any(|role| self.prefixes(*role).into_iter().any(may)) {
            Ok(())
        } else {
            Err(forbidden(roles[0], Some(stream.to_string())))
        }
    }

    /// All that an append writes and asks for.
    pub(crate) async fn check_append(&self, append: &Append, reads: &ReadIndex) -> Result<(), Failed> {
        if self.everywhere(Role::Append) && self.everywhere(Role::Read) {
            return Ok(());
        }
        for (stream, _) in append.runs() {
            self.check_stream(&[Role::Append], stream, reads).await?;
        }
        for condition in append.conditions() {
            match condition {
                Condition::Version { stream, .. } => {
                    self.check_stream(&[Role::Append, Role::Read], stream, reads).await?;
                }
                // A query that was narrowed would promise less than what was asked for.
                Condition::NoMatch { query, .. } => {
                    if self.narrow(query, reads).await? != *query {
                        return Err(forbidden(Role::Read, None));
                    }
                }
            }
        }
        Ok(())
    }

    /// The query, for no more than what may be read. What it names has to be allowed; where it names nothing, it is narrowed to what
    /// is.
    pub(crate) async fn narrow(&self, query: &Query, reads: &ReadIndex) -> Result<Query, Failed> {
        if self.everywhere(Role::Read) {
            return Ok(query.clone());
        }
        // Before it is narrowed, which could make a right one of a wrong one.
        query.check().map_err(|error| failure_of(&error.into()))?;
        let all = [QueryItem::new()];
        let mut narrowed = Query::new();
        for item in if query.all { &all[..] } else { &query.items } {
            if let Some(stream) = &item.stream {
                self.check_stream(&[Role::Read], stream, reads).await?;
                narrowed = narrowed.or(item.clone());
                continue;
            }
            for prefix in self.listed(item.stream_prefix.as_deref().unwrap_or_default())? {
                narrowed = narrowed.or(item.clone().stream_prefix(prefix));
            }
        }
        let count = narrowed.items.len();
        if count > MAX_QUERY_ITEMS {
            let message = format!(
                "for what the caller may read, the query needs {count} items, and {MAX_QUERY_ITEMS} are allowed: it has to ask \
                 for fewer streams at once"
            );
            let cause = Cause::Invalid(Invalid { field: "query".to_owned() });
            return Err(Failed::new(Code::InvalidArgument, Advice::InvalidRequest, message, Some(cause)));
        }
        Ok(narrowed)
    }

    /// The prefixes of names that may be read where those with this prefix are asked for, in order and apart: at least one.
    pub(crate) fn listed(&self, asked: &str) -> Result<Vec<String>, Failed> {
        let prefixes = self.prefixes(Role::Read);
        if self.0.is_none() || prefixes.iter().any(|granted| asked.starts_with(granted)) {
            return Ok(vec![asked.to_owned()]);
        }
        let within = prefixes.into_iter().filter(|granted| granted.starts_with(asked));
        let within: Vec<_> = within.map(ToOwned::to_owned).collect();
        if within.is_empty() { Err(forbidden(Role::Read, Some(format!("{asked}*")))) } else { Ok(within) }
    }
}

fn forbidden(role: Role, stream: Option<String>) -> Failed {
    let name = role.name();
    let message = match &stream {
        Some(stream) => format!("this needs the role {name} on {stream}"),
        None => format!("this needs the role {name}"),
    };
    let cause = Cause::Forbidden(Forbidden { role: name.to_owned(), stream });
    Failed::new(Code::PermissionDenied, Advice::Forbidden, message, Some(cause))
}
