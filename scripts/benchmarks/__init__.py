"""What Esteira costs on this machine: one module a measure."""
