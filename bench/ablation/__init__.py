"""The paper's ablation of the losses (Table 5), and the settings it leaves open, at small scale."""
