"""What a gateway costs in front of a model: Trimtab beside nginx, LiteLLM and Portkey, on one core each."""
