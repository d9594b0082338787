"""What the API's description shows: made of the structs that real answers are made of."""
