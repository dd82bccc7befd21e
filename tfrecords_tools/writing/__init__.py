"""From images and their annotations to a folder of records: what goes where, one shard, the whole, its publication."""
