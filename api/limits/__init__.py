"""What keeps one tenant from taking more than its share: request rates, quotas of its plan, places, lists at once."""
