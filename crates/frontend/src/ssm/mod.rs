//! AWS Systems Manager's Parameter Store: parameters with numbered versions and labels. Every value
//! is sealed at rest, whatever its type.

mod delete;
mod describe_parameters;
mod filters;
mod get;
mod labels;
mod parameters;
mod public;
mod put_parameter;
mod tags;
#[cfg(test)]
mod tests;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(ssm, AddTagsToResourceRequest, tags::add_tags_to_resource),
    route!(ssm, DeleteParameterRequest, delete::delete_parameter),
    route!(ssm, DeleteParametersRequest, delete::delete_parameters),
    route!(ssm, DescribeParametersRequest, describe_parameters::describe_parameters),
    route!(ssm, GetParameterRequest, get::get_parameter),
    route!(ssm, GetParameterHistoryRequest, get::get_parameter_history),
    route!(ssm, GetParametersRequest, get::get_parameters),
    route!(ssm, GetParametersByPathRequest, get::get_parameters_by_path),
    route!(ssm, LabelParameterVersionRequest, labels::label_parameter_version),
    route!(ssm, ListTagsForResourceRequest, tags::list_tags_for_resource),
    route!(
        ssm,
        PutParameterRequest,
        put_parameter::put_parameter,
        ignores[
            "dataType (images and integrations are not looked up)",
            "keyId (sealed under our own root key)"
        ]
    ),
    route!(ssm, RemoveTagsFromResourceRequest, tags::remove_tags_from_resource),
    route!(ssm, UnlabelParameterVersionRequest, labels::unlabel_parameter_version),
];
