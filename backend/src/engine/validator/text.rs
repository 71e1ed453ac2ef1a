//! A validator as its author wrote it, for error messages: `v.object({name: v.string()})`.

use std::fmt;

use super::Validator;

impl fmt::Display for Validator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("v.any()"),
            Self::Null => out.write_str("v.null()"),
            Self::Number => out.write_str("v.float64()"),
            Self::Int64 => out.write_str("v.int64()"),
            Self::Boolean => out.write_str("v.boolean()"),
            Self::String => out.write_str("v.string()"),
            Self::Bytes => out.write_str("v.bytes()"),
            Self::Literal(value) => write!(out, "v.literal({})", value.display()),
            Self::Id(table) => write!(out, "v.id({table:?})"),
            Self::Array(element) => write!(out, "v.array({element})"),
            Self::Record(keys, values) => write!(out, "v.record({keys}, {values})"),
            Self::Object(fields) => {
                out.write_str("v.object({")?;
                for (at, (name, field)) in fields.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    if field.optional {
                        write!(out, "{comma}{name}: v.optional({})", field.validator)?;
                    } else {
                        write!(out, "{comma}{name}: {}", field.validator)?;
                    }
                }
                out.write_str("})")
            }
            Self::Union(members) => {
                out.write_str("v.union(")?;
                for (at, member) in members.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(out, "{comma}{member}")?;
                }
                out.write_str(")")
            }
        }
    }
}
