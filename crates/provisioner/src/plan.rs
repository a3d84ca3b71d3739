//! What an order would do, touching nothing.

use orderwire_api::wire::OrderPlan;

use crate::provisioner::{AcceptError, OrderRequest, Provisioner};

impl Provisioner {
    /// What an order would create, change and remove, and what policy refuses.
    /// Nothing is recorded and nothing touched.
    ///
    /// # Errors
    /// `Invalid` for a request that is malformed, `Store` when the store is away.
    pub async fn plan(&self, request: OrderRequest) -> Result<OrderPlan, AcceptError> {
        let _ = request;
        todo!()
    }
}
