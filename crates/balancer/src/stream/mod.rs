//! TCP listeners (network load balancers): a connection goes to a target and is carried both ways.
