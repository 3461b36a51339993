module loragraft.test/gotemplate

go 1.24
