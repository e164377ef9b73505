//! Clients that speak HTTP/2.

use crate::connection::Connection;

pub async fn serve(connection: Connection) {
    connection.serve().await;
}
