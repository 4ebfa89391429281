"""What tests share: real databases cloned from migrated templates, running apps, waiting on conditions."""
