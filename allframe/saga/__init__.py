"""What should happen: sagas, declared, checked, run, recorded and recovered."""
