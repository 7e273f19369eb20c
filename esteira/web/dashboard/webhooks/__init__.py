"""Parts of the page Webhooks: its query, the endpoints, the deliveries, and their redelivery."""
