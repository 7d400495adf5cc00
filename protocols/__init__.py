"""What crosses a boundary: errors, knowledge packs, Flower records, EMG frames."""
