//! A query, as it is written on the command line.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use eventfold_client::{Query, QueryItem};

/// Options such as `--type Opened --tag owner:ann --or --stream audit`, in which the order tells what belongs together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Criteria {
    /// What an event matches at least one of.
    pub(crate) items: Vec<QueryItem>,
}

const OPTIONS: [(&str, &str, &str); 4] = [
    ("type", "TYPE", "Events of this type; repeated: of any of them"),
    ("tag", "TAG", "Events with this tag; repeated: with all of them"),
    ("stream-is", "STREAM", "Events of this stream"),
    ("prefix", "PREFIX", "Events of streams whose names begin so"),
];

impl Criteria {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn into_query(self) -> Query {
        Query { all: false, items: self.items }
    }
}

impl clap::Args for Criteria {
    fn augment_args(command: Command) -> Command {
        let option = |(id, value, help): (&'static str, &'static str, &'static str)| {
            let long = id.trim_end_matches("-is");
            Arg::new(id).long(long).value_name(value).help(help).action(ArgAction::Append).help_heading("What matches")
        };
        // It has no value, and is counted as one all the same: so it has a place among the others.
        let or = Arg::new("or").long("or").num_args(0).default_missing_value("or").action(ArgAction::Append);
        let or = or.help("Or what the options behind it say").help_heading("What matches");
        command.args(OPTIONS.map(option)).arg(or)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Criteria {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for id in OPTIONS.map(|(id, ..)| id).into_iter().chain(["or"]) {
            let places = matches.indices_of(id).into_iter().flatten();
            let values = matches.get_many::<String>(id).into_iter().flatten();
            given.extend(places.zip(values).map(|(place, value)| (place, id, value.clone())));
        }
        given.sort_unstable();
        let mut items = Vec::new();
        let mut item = None;
        for (_, id, value) in given {
            let now: QueryItem = item.take().unwrap_or_default();
            item = Some(match id {
                "type" => now.types([value]),
                "tag" => now.tags([value]),
                "stream-is" if now.stream.is_none() => now.stream(value),
                "prefix" if now.stream_prefix.is_none() => now.stream_prefix(value),
                "or" => {
                    items.push(now);
                    QueryItem::new()
                }
                _ => return Err(twice(id.trim_end_matches("-is"))),
            });
        }
        items.extend(item);
        Ok(Self { items })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn twice(option: &str) -> clap::Error {
    let message = format!("no event is of two streams: --{option} is given twice; put --or between them\n");
    clap::Error::raw(ErrorKind::ArgumentConflict, message)
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    fn criteria(line: &str) -> Result<Criteria, clap::Error> {
        let command = Criteria::augment_args(Command::new("query").no_binary_name(true));
        Criteria::from_arg_matches(&command.try_get_matches_from(line.split_whitespace())?)
    }

    #[test]
    fn what_stands_together_belongs_together() {
        let item = QueryItem::new;
        let table = [
            ("", vec![]),
            ("--type A --type B", vec![item().types(["A", "B"])]),
            ("--tag b --type A --tag a", vec![item().types(["A"]).tags(["b", "a"])]),
            ("--type A --or --type B --tag t", vec![item().types(["A"]), item().types(["B"]).tags(["t"])]),
            (
                "--stream s --or --prefix p --or --tag t",
                vec![item().stream("s"), item().stream_prefix("p"), item().tags(["t"])],
            ),
        ];
        for (line, items) in table {
            assert_eq!(criteria(line).unwrap().items, items, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(criteria("--stream a --stream b").is_err());
        assert!(criteria("--prefix a --prefix b").is_err());
        assert!(criteria("--stream a --or --stream b").is_ok());
        for line in ["--or", "--or --type A", "--type A --or", "--type A --or --or --type B", "--stream a --prefix b"] {
            assert!(criteria(line).unwrap().into_query().check().is_err(), "{line}");
        }
    }
}
