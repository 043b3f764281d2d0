//! The published names of a block's maps.

use crate::model::language_model::Role;

/// The last name of a block's map.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::QueryKeyValue => "qkv_proj",
        Role::Query => "q_proj",
        Role::Key => "k_proj",
        Role::Value => "v_proj",
        Role::Out => "o_proj",
        Role::GateUp => "gate_up_proj",
        Role::Gate => "gate_proj",
        Role::Up => "up_proj",
        Role::Down => "down_proj",
    }
}

/// The name of the group of maps that it belongs to.
pub(super) fn role_folder(role: Role) -> &'static str {
    match role {
        Role::QueryKeyValue | Role::Query | Role::Key | Role::Value | Role::Out => "self_attn",
        Role::GateUp | Role::Gate | Role::Up | Role::Down => "mlp",
    }
}
