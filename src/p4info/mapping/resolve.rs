//! From names in a mapping file to ids and widths of its P4Info; what does not fit its part is told with its line.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::parts::Place as Use;
use super::{Action, ActionSpec, CounterArray, Field, Form, Key, KeyKind, KeySpec, Part, PartSpec, Selector};
use crate::config::{Place, Reader, Tree, Value, schema};
use crate::p4info::{Counter, CounterUnit, Info, MatchField, MatchKind, PacketHeader, Scope, Table, nearest};

/// Entries of a map whose keys the schema does not list.
type Named<'t> = &'t [(String, Place, Tree)];

pub(super) struct Resolver<'r, 'f> {
    pub(super) reader: &'r mut Reader<'f>,
    pub(super) info: &'r Info,
}

impl Resolver<'_, '_> {
    /// `None` where a part is missing or wrong.
    pub(super) fn parts(
        &mut self,
        form: Form,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<BTreeMap<&'static str, Part>> {
        let given = self.map(tree, "tables")?;
        let specs = form.parts();
        self.known(given, "a part", specs.iter().map(|spec| spec.name));
        let mut parts = BTreeMap::new();
        let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
        let mut whole = true;
        for spec in specs {
            let Some((_, at, tree)) = given.iter().find(|(name, ..)| name == spec.name) else {
                if spec.required {
                    let expected = format!("'{}': a table with {}", spec.name, needs(spec));
                    self.reader.problem(place, format!("no table plays the part '{}'", spec.name), expected);
                    whole = false;
                }
                continue;
            };
            let Some(part) = self.part(spec, tree) else {
                whole = false;
                continue;
            };
            if let Some(other) = taken.insert(part.id, spec.name) {
                let what = format!("table '{}' plays '{other}' already", part.table);
                self.reader.problem(*at, what, "a table of its own for every part");
                whole = false;
            }
            parts.insert(spec.name, part);
        }
        whole.then_some(parts)
    }

    fn part(&mut self, spec: &PartSpec, tree: &Tree) -> Option<Part> {
        let fields = self.reader.object(tree, &schema::MAPPING_TABLE)?;
        let named = fields.get("table")?;
        let name = self.reader.text(Some(named), "table")?;
        let found = self.info.table(&name);
        let table = self.found(found, named, "a table of the P4Info")?;
        if table.is_const {
            let what = format!("all entries of table '{}' are the program's", table.name);
            self.reader.problem(named.place, what, "a table that takes entries");
        }
        let keys = self.keys(spec, table, fields.get("key"), named.place);
        let actions = self.actions(spec, table, fields.get("actions"), named.place);
        let selector = self.selector(spec, table, fields.get("selector"), named.place);
        let counter = self.direct_counter(spec, table, fields.get("counter"), named.place);
        Some(Part {
            table: table.name.clone(),
            id: table.id,
            size: table.size,
            priorities: table.has_priorities(),
            keys: keys?,
            actions: actions?,
            selector: selector?,
            counter: counter?,
        })
    }

    fn keys(
        &mut self,
        spec: &PartSpec,
        table: &Table,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<BTreeMap<&'static str, Key>> {
        let given = self.map_or_empty(tree, "key")?;
        self.known(given, "a key field", spec.keys.iter().map(|key| key.name));
        let mut keys = BTreeMap::new();
        let mut taken = BTreeMap::new();
        let mut whole = true;
        for wanted in spec.keys {
            let Some((_, _, tree)) = given.iter().find(|(name, ..)| name == wanted.name) else {
                if wanted.required {
                    let what = format!("the key field '{}' of part '{}' is not mapped", wanted.name, spec.name);
                    let expected = format!("{} as a match field of '{}'", key_needs(wanted), table.name);
                    self.reader.problem(tree.map_or(place, |tree| tree.place), what, expected);
                    whole = false;
                }
                continue;
            };
            match self.key(wanted, table, tree) {
                Some(key) => {
                    let whom = || format!("match field '{}' of '{}'", key.field.name, table.name);
                    whole &= self.alone(&mut taken, key.field.id, wanted.name, tree.place, whom);
                    keys.insert(wanted.name, key);
                }
                None => whole = false,
            }
        }
        // An entry has to give every exact field.
        for field in table.fields.iter().filter(|field| field.kind == MatchKind::Exact) {
            if whole && !keys.values().any(|key| key.field.id == field.id) {
                let what = format!("match field '{}' of '{}' is mapped to nothing", field.name, table.name);
                let expected = format!("a table that needs no more than {}", needs(spec));
                self.reader.problem(tree.map_or(place, |tree| tree.place), what, expected);
                whole = false;
            }
        }
        whole.then_some(keys)
    }

    fn key(&mut self, wanted: &KeySpec, table: &Table, tree: &Tree) -> Option<Key> {
        let name = self.reader.text(Some(tree), wanted.name)?;
        let field = self.found(table.field(&name), tree, "a match field of the table")?;
        let fits = match (wanted.kind, &field.kind) {
            (KeyKind::Exact, kind) => matches!(kind, MatchKind::Exact | MatchKind::Ternary | MatchKind::Optional),
            (KeyKind::Lpm, kind) => *kind == MatchKind::Lpm,
        };
        if !fits {
            let what = format!("match field '{name}' of '{}' is {}", table.name, kind_name(field));
            self.reader.problem(tree.place, what, key_needs(wanted));
            return None;
        }
        let whom = format!("match field '{name}' of '{}'", table.name);
        self.wide_enough(tree, &whom, field.width_bits, wanted.width_bits)?;
        let field_id = Field { id: field.id, name: field.name.clone(), width_bits: field.width_bits };
        Some(Key { field: field_id, kind: field.kind.clone() })
    }

    fn actions(
        &mut self,
        spec: &PartSpec,
        table: &Table,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<BTreeMap<&'static str, Action>> {
        let given = self.map_or_empty(tree, "actions")?;
        self.known(given, "an action", spec.actions.iter().map(|action| action.name));
        let mut actions = BTreeMap::new();
        let mut taken = BTreeMap::new();
        let mut whole = true;
        for wanted in spec.actions {
            let Some((_, _, tree)) = given.iter().find(|(name, ..)| name == wanted.name) else {
                if wanted.required {
                    let what = format!("the action '{}' of part '{}' is not mapped", wanted.name, spec.name);
                    let expected = format!("an action of '{}' with {}", table.name, params_needed(wanted));
                    self.reader.problem(tree.map_or(place, |tree| tree.place), what, expected);
                    whole = false;
                }
                continue;
            };
            match self.action(spec, wanted, table, tree) {
                Some(action) => {
                    let whom = || format!("action '{}' of part '{}'", action.name, spec.name);
                    whole &= self.alone(&mut taken, action.id, wanted.name, tree.place, whom);
                    actions.insert(wanted.name, action);
                }
                None => whole = false,
            }
        }
        whole.then_some(actions)
    }

    fn action(&mut self, spec: &PartSpec, wanted: &ActionSpec, table: &Table, tree: &Tree) -> Option<Action> {
        let fields = self.reader.object(tree, &schema::MAPPING_ACTION)?;
        let named = fields.get("action")?;
        let name = self.reader.text(Some(named), "action")?;
        let found = self.info.action(&name);
        let action = self.found(found, named, "an action of the P4Info")?;
        let usable = match (table.scope(action.id), spec.place) {
            (None, _) => false,
            (Some(Scope::TableOnly), place) => place == Use::Entries,
            (Some(Scope::DefaultOnly), place) => place == Use::Default,
            (Some(_), _) => true,
        };
        if !usable {
            let what = format!("'{}' cannot be used by table '{}' as '{}'", action.name, table.name, wanted.name);
            let place = if spec.place == Use::Entries { "entries" } else { "its default action" };
            self.reader.problem(named.place, what, format!("an action that the table allows for {place}"));
            return None;
        }
        if spec.place != Use::Entries && table.const_default.is_some() {
            let what = format!("the default action of table '{}' is constant", table.name);
            self.reader.problem(named.place, what, "a default action that can be set");
            return None;
        }
        let params = self.params(wanted, action, fields.get("params"), tree.place)?;
        Some(Action { id: action.id, name: action.name.clone(), params })
    }

    fn params(
        &mut self,
        wanted: &ActionSpec,
        action: &crate::p4info::Action,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<BTreeMap<&'static str, Field>> {
        let given = self.map_or_empty(tree, "params")?;
        self.known(given, "a parameter", wanted.params.iter().map(|(name, _)| *name));
        let mut params = BTreeMap::new();
        let mut taken = BTreeMap::new();
        let mut whole = true;
        for (name, width) in wanted.params {
            let Some((_, _, tree)) = given.iter().find(|(given, ..)| given == name) else {
                let what = format!("the parameter '{name}' of action '{}' is not mapped", wanted.name);
                self.reader.problem(place, what, format!("a parameter of '{}' of {width} bits", action.name));
                continue;
            };
            let Some(text) = self.reader.text(Some(tree), name) else { continue };
            let Some(param) = self.found(action.param(&text), tree, "a parameter of the action") else { continue };
            let whom = || format!("parameter '{text}' of '{}'", action.name);
            whole &= self.alone(&mut taken, param.id, name, tree.place, whom);
            if self.wide_enough(tree, &whom(), param.width_bits, *width).is_some() {
                let field = Field { id: param.id, name: param.name.clone(), width_bits: param.width_bits };
                params.insert(*name, field);
            }
        }
        if !whole || params.len() < wanted.params.len() {
            return None;
        }
        // An action needs every one of its parameters.
        let mapped = |id: u32| params.values().any(|param: &Field| param.id == id);
        if let Some(param) = action.params.iter().find(|param| !mapped(param.id)) {
            let what = format!("parameter '{}' of '{}' is mapped to nothing", param.name, action.name);
            self.reader.problem(place, what, format!("an action with {}", params_needed(wanted)));
            return None;
        }
        Some(params)
    }

    /// False, and a problem, where something of the program was given another role before.
    pub(super) fn alone<I: Ord>(
        &mut self,
        taken: &mut BTreeMap<I, &'static str>,
        id: I,
        role: &'static str,
        place: Place,
        whom: impl FnOnce() -> String,
    ) -> bool {
        let before = *taken.entry(id).or_insert(role);
        if before != role {
            self.reader.problem(
                place,
                format!("{} is '{before}' already", whom()),
                format!("another one for '{role}'"),
            );
        }
        before == role
    }

    fn selector(
        &mut self,
        spec: &PartSpec,
        table: &Table,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<Option<Selector>> {
        let profile = table.profile.and_then(|id| self.info.profile_by_id(id));
        let Some(weights) = spec.selector else {
            if let Some(tree) = tree {
                let what = format!("part '{}' has a selector", spec.name);
                self.reader.problem(tree.place, what, "a part that chooses");
                return None;
            }
            if let Some(profile) = profile {
                let what = format!("entries of '{}' refer to profile '{}'", table.name, profile.name);
                self.reader.problem(place, what, format!("a table with actions of its own for '{}'", spec.name));
                return None;
            }
            return Some(None);
        };
        let place = tree.map_or(place, |tree| tree.place);
        let Some(profile) = profile.filter(|profile| profile.selector) else {
            let what = format!("table '{}' has no action selector", table.name);
            self.reader.problem(place, what, format!("one for part '{}'", spec.name));
            return None;
        };
        if let Some(tree) = tree {
            let name = self.reader.text(Some(tree), "selector")?;
            let found = self.info.profile(&name);
            let named = self.found(found, tree, "an action selector of the P4Info")?;
            if named.id != profile.id {
                let what = format!("table '{}' uses '{}', not '{}'", table.name, profile.name, named.name);
                self.reader.problem(tree.place, what, "the selector of the table");
                return None;
            }
        }
        if !profile.weights_allowed && weights == super::CHOICE_WEIGHTS {
            self.reader.problem(place, format!("'{}' takes no weights", profile.name), "a selector with weights");
            return None;
        }
        if profile.group_size_max != 0 && profile.group_size_max < weights {
            let what = format!("groups of '{}' hold at most {}", profile.name, profile.group_size_max);
            self.reader.problem(place, what, format!("a maximum group size of {weights} or more for '{}'", spec.name));
            return None;
        }
        Some(Some(Selector {
            id: profile.id,
            name: profile.name.clone(),
            size: profile.size,
            group_size_max: profile.group_size_max,
        }))
    }

    fn direct_counter(
        &mut self,
        spec: &PartSpec,
        table: &Table,
        tree: Option<&Tree>,
        place: Place,
    ) -> Option<Option<u32>> {
        let Some(tree) = tree else {
            if spec.counter {
                let what = format!("part '{}' has no counter", spec.name);
                self.reader.problem(place, what, format!("'counter': the direct counter of '{}'", table.name));
                return None;
            }
            return Some(None);
        };
        let name = self.reader.text(Some(tree), "counter")?;
        let found = self.info.direct_counter(&name);
        let counter = self.found(found, tree, "a direct counter of the P4Info")?;
        if counter.table != Some(table.id) {
            let what = format!("'{}' is no counter of table '{}'", counter.name, table.name);
            self.reader.problem(tree.place, what, "the direct counter of the table");
            return None;
        }
        self.counts_packets(tree, counter)?;
        Some(Some(counter.id))
    }

    /// An array of counters that counts packets.
    pub(super) fn counter(&mut self, tree: &Tree, key: &str) -> Option<CounterArray> {
        let name = self.reader.text(Some(tree), key)?;
        let found = self.info.counter(&name);
        let counter = self.found(found, tree, "a counter of the P4Info")?;
        self.counts_packets(tree, counter)?;
        Some(CounterArray { id: counter.id, cells: counter.size })
    }

    fn counts_packets(&mut self, tree: &Tree, counter: &Counter) -> Option<()> {
        if counter.unit == CounterUnit::Bytes {
            let what = format!("counter '{}' counts bytes alone", counter.name);
            self.reader.problem(tree.place, what, "a counter of packets");
            return None;
        }
        Some(())
    }

    /// A field beside packets.
    pub(super) fn metadata(
        &mut self,
        header: Option<&PacketHeader>,
        tree: Option<&Tree>,
        key: &str,
        width_bits: u32,
    ) -> Option<Field> {
        let tree = tree?;
        let name = self.reader.text(Some(tree), key)?;
        let Some(header) = header else {
            self.reader.problem(tree.place, "the P4Info has no such packet header", "metadata beside packets");
            return None;
        };
        let field = self.found(header.field(&name), tree, "metadata of the P4Info")?;
        self.wide_enough(tree, &format!("metadata '{name}'"), field.width_bits, width_bits)?;
        Some(Field { id: field.id, name: field.name.clone(), width_bits: field.width_bits })
    }

    fn wide_enough(&mut self, tree: &Tree, whom: &str, has: u32, needs: u32) -> Option<()> {
        if has == 0 {
            self.reader.problem(tree.place, format!("{whom} takes texts"), format!("{needs} bits or more"));
            return None;
        }
        if has < needs {
            self.reader.problem(tree.place, format!("{whom} has {has} bits"), format!("{needs} bits or more"));
            return None;
        }
        Some(())
    }

    fn found<'t, T>(&mut self, found: Result<&'t T, impl Display>, tree: &Tree, expected: &str) -> Option<&'t T> {
        match found {
            Ok(found) => Some(found),
            Err(unknown) => {
                self.reader.problem(tree.place, unknown.to_string(), expected);
                None
            }
        }
    }

    fn map<'t>(&mut self, tree: Option<&'t Tree>, key: &str) -> Option<Named<'t>> {
        let tree = tree?;
        match &tree.value {
            Value::Map(entries) => Some(entries),
            _ => {
                self.reader.problem(tree.place, format!("'{key}' is {}", tree.describe()), "a map of names");
                None
            }
        }
    }

    fn map_or_empty<'t>(&mut self, tree: Option<&'t Tree>, key: &str) -> Option<Named<'t>> {
        match tree {
            None | Some(Tree { value: Value::Null, .. }) => Some(&[]),
            tree => self.map(tree, key),
        }
    }

    fn known(&mut self, given: Named<'_>, what: &str, known: impl Iterator<Item = &'static str>) {
        let known: Vec<&str> = known.collect();
        for (name, place, _) in given.iter().filter(|(name, ..)| !known.contains(&name.as_str())) {
            let near = nearest(name, known.iter().copied());
            let near = near.map(|near| format!("; the nearest is '{near}'")).unwrap_or_default();
            let expected = if known.is_empty() { "none".to_owned() } else { format!("one of {}", known.join(", ")) };
            self.reader.problem(*place, format!("'{name}' is not {what} here{near}"), expected);
        }
    }
}

fn kind_name(field: &MatchField) -> String {
    match &field.kind {
        MatchKind::Other(name) => format!("matched by '{name}'"),
        kind => format!("matched by {}", format!("{kind:?}").to_lowercase()),
    }
}

fn key_needs(key: &KeySpec) -> String {
    let kind = match key.kind {
        KeyKind::Exact => "exact (ternary and optional do as well)",
        KeyKind::Lpm => "lpm",
    };
    format!("{} bits or more, {kind}", key.width_bits)
}

fn params_needed(action: &ActionSpec) -> String {
    let params: Vec<String> = action.params.iter().map(|(name, width)| format!("{name} ({width} bits)")).collect();
    if params.is_empty() { "no parameters".to_owned() } else { params.join(", ") }
}

fn needs(spec: &PartSpec) -> String {
    let keys: Vec<&str> = spec.keys.iter().map(|key| key.name).collect();
    let actions: Vec<&str> = spec.actions.iter().map(|action| action.name).collect();
    let key = if keys.is_empty() { "no key".to_owned() } else { format!("key {}", keys.join(", ")) };
    format!("{key} and the actions {}", actions.join(", "))
}
