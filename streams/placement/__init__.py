"""Which tenant should be on which partition: plans made from what tenants cost. Knows neither Kafka nor SQL."""
