"""Products of the simulated shop: name, category and price."""

PRODUCTS = [("Kettle", "home", 34.9), ("Lamp", "home", 59.0), ("Rucksack", "outdoor", 89.5), ("Tent", "outdoor", 240.0)]
PRODUCTS += [("Novel", "books", 12.0), ("Atlas", "books", 45.0), ("Headset", "audio", 79.0), ("Radio", "audio", 119.9)]
