"""Care for a registry and what lies around it: doctor, gc, reproduce."""
