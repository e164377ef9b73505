//! Bounds of the data plane, with their units. Those of ALB are from the ELB user guide, "Quotas"
//! and "Troubleshoot".
