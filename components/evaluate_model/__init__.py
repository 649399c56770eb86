"""Judge a model beside baselines, the known best and the champion; crown it if it passes."""
