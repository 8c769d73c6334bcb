package pool

import "os"

// rightsOf is never called: there is no memory to share.
func rightsOf(*os.File) []byte { return nil }
