//! GraphQL requests held to GitHub's published schema: `tests/contract/checks.graphql`.
use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graphql_parser::query::{Definition, OperationDefinition, Selection, Value as Literal};
use graphql_parser::schema::{self, Type, TypeDefinition};
use serde_json::Value;

const SCHEMA: &str = include_str!("../../contract/checks.graphql");

/// One mutation of a request, as the fake carries it out.
pub(super) struct Alias {
    pub(super) name: String,
    /// `createCheckRun`.
    pub(super) field: String,
    pub(super) input: Value,
    /// What is asked of its payload: fields, with what is asked of each that is no plain value.
    pub(super) asked: Vec<(String, Vec<String>)>,
}

enum Kind {
    Scalar,
    Enum(BTreeSet<String>),
    /// Fields and their types, of inputs and of outputs.
    Fields(HashMap<String, Type<'static, String>>),
}

pub(super) struct Schema(HashMap<String, Kind>);

impl Schema {
    pub(super) fn load() -> Self {
        let document = graphql_parser::parse_schema::<String>(SCHEMA).unwrap().into_static();
        let mut kinds = HashMap::new();
        for definition in document.definitions {
            let schema::Definition::TypeDefinition(definition) = definition else { continue };
            let (name, kind) = match definition {
                TypeDefinition::Scalar(it) => (it.name, Kind::Scalar),
                TypeDefinition::Enum(it) => {
                    (it.name, Kind::Enum(it.values.into_iter().map(|it| it.name).collect()))
                }
                TypeDefinition::InputObject(it) => {
                    let fields = it.fields.into_iter().map(|it| (it.name, it.value_type));
                    (it.name, Kind::Fields(fields.collect()))
                }
                TypeDefinition::Interface(it) => {
                    let fields = it.fields.into_iter().map(|it| (it.name, it.field_type));
                    (it.name, Kind::Fields(fields.collect()))
                }
                TypeDefinition::Object(it) => {
                    let fields = it.fields.into_iter().map(|it| (it.name, it.field_type));
                    (it.name, Kind::Fields(fields.collect()))
                }
                TypeDefinition::Union(it) => panic!("{}: a union", it.name),
            };
            kinds.insert(name, kind);
        }
        Self(kinds)
    }

    /// The mutations of a request, or what GitHub would find wrong with it.
    pub(super) fn read(&self, body: &Value) -> Result<Vec<Alias>, String> {
        let text = body["query"].as_str().ok_or("no query")?;
        let document = graphql_parser::parse_query::<String>(text).map_err(|it| it.to_string())?;
        let [Definition::Operation(OperationDefinition::Mutation(mutation))] =
            document.definitions.as_slice()
        else {
            return Err("one mutation is expected".into());
        };
        let variables = body["variables"].as_object().ok_or("no variables")?;
        let mut kinds = HashMap::new();
        for it in &mutation.variable_definitions {
            let value = variables.get(&it.name).unwrap_or(&Value::Null);
            self.check(&it.var_type.to_string(), value, &it.name)?;
            kinds.insert(it.name.as_str(), it.var_type.to_string());
        }
        if let Some(unknown) = variables.keys().find(|it| !kinds.contains_key(it.as_str())) {
            return Err(format!("variable {unknown} is not declared"));
        }
        let mut unused: BTreeSet<&str> = kinds.keys().copied().collect();
        let mut aliases = Vec::new();
        for item in &mutation.selection_set.items {
            let Selection::Field(field) = item else { return Err("a field is expected".into()) };
            let payload = self.field("Mutation", &field.name)?;
            let [(argument, Literal::Variable(variable))] = field.arguments.as_slice() else {
                return Err("one argument, a variable, is expected".into());
            };
            let mut wanted = field.name.clone() + "Input!";
            wanted[..1].make_ascii_uppercase();
            if argument != "input" || kinds.get(variable.as_str()) != Some(&wanted) {
                return Err(format!("argument {argument} of {}: {wanted} expected", field.name));
            }
            unused.remove(variable.as_str());
            let asked = self.asked(&payload, &field.selection_set.items)?;
            aliases.push(Alias {
                name: field.alias.clone().unwrap_or_else(|| field.name.clone()),
                field: field.name.clone(),
                input: variables[variable].clone(),
                asked,
            });
        }
        match unused.first() {
            Some(unused) => Err(format!("variable {unused} is not used")),
            None => Ok(aliases),
        }
    }

    fn asked(
        &self,
        payload: &str,
        items: &[Selection<'_, String>],
    ) -> Result<Vec<(String, Vec<String>)>, String> {
        let mut asked = Vec::new();
        for item in items {
            let Selection::Field(field) = item else { return Err("a field is expected".into()) };
            let of = self.field(payload, &field.name)?;
            let mut inner = Vec::new();
            for item in &field.selection_set.items {
                let Selection::Field(it) = item else { return Err("a field is expected".into()) };
                self.field(&of, &it.name)?;
                inner.push(it.name.clone());
            }
            let is_plain = !matches!(self.0.get(&of), Some(Kind::Fields(_)));
            if is_plain != inner.is_empty() {
                return Err(format!("{} of {payload}: what is asked of it?", field.name));
            }
            asked.push((field.name.clone(), inner));
        }
        if asked.is_empty() { Err("nothing is asked of the payload".into()) } else { Ok(asked) }
    }

    /// The bare type of a field.
    fn field(&self, of: &str, name: &str) -> Result<String, String> {
        match self.0.get(of) {
            Some(Kind::Fields(fields)) => fields.get(name).map(bare),
            _ => None,
        }
        .ok_or_else(|| format!("Field '{name}' doesn't exist on type '{of}'"))
    }

    /// A value of a type, spelt `[CheckRunAction!]`.
    fn check(&self, kind: &str, value: &Value, at: &str) -> Result<(), String> {
        let (kind, required) = match kind.strip_suffix('!') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        if value.is_null() {
            return if required { Err(format!("{at} is required")) } else { Ok(()) };
        }
        if let Some(item) = kind.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let all = value.as_array().ok_or_else(|| format!("{at} is not a list"))?;
            return all.iter().try_for_each(|it| self.check(item, it, at));
        }
        let fits = match kind {
            "Int" => value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
            "Boolean" => value.is_boolean(),
            "String" | "ID" => value.is_string(),
            _ => match self.0.get(kind) {
                None => return Err(format!("there is no type {kind}")),
                Some(Kind::Scalar) => value.as_str().is_some_and(|it| is_scalar(kind, it)),
                Some(Kind::Enum(values)) => value.as_str().is_some_and(|it| values.contains(it)),
                Some(Kind::Fields(fields)) => return self.check_fields(fields, value, at),
            },
        };
        if fits { Ok(()) } else { Err(format!("{at} is no {kind}: {value}")) }
    }

    fn check_fields(
        &self,
        fields: &HashMap<String, Type<'static, String>>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let object = value.as_object().ok_or_else(|| format!("{at} is not an object"))?;
        if let Some(unknown) = object.keys().find(|it| !fields.contains_key(*it)) {
            return Err(format!("{at}.{unknown}: field is not defined"));
        }
        fields.iter().try_for_each(|(name, kind)| {
            let value = object.get(name).unwrap_or(&Value::Null);
            self.check(&kind.to_string(), value, &format!("{at}.{name}"))
        })
    }
}

fn is_scalar(kind: &str, text: &str) -> bool {
    match kind {
        "GitObjectID" => text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "URI" => text.starts_with("http://") || text.starts_with("https://"),
        "GitRefname" => text.starts_with("refs/"),
        "Base64String" => STANDARD.decode(text).is_ok(),
        "DateTime" => text.parse::<jiff::Timestamp>().is_ok(),
        other => panic!("what does a {other} look like?"),
    }
}

fn bare(kind: &Type<'static, String>) -> String {
    match kind {
        Type::NamedType(name) => name.clone(),
        Type::ListType(of) | Type::NonNullType(of) => bare(of),
    }
}
