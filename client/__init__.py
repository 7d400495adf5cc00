"""The Flower ClientApp: a person's own shard, their store on disk, local distillation."""
