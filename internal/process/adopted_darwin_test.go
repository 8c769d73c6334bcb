package process_test

func reapAdopted(string) {}
