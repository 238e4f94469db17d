# An honest mistake: the recipe's name is misspelt.
exec aar-lab run recipes.toml
