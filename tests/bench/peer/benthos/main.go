// SPDX-License-Identifier: MIT

// Benthos with the components that the comparison uses: a custom build, as its guide describes it.
package main

import (
	"context"

	_ "github.com/benthosdev/benthos/v4/public/components/io"
	_ "github.com/benthosdev/benthos/v4/public/components/kafka"
	_ "github.com/benthosdev/benthos/v4/public/components/pure"
	_ "github.com/benthosdev/benthos/v4/public/components/sql/base"
	"github.com/benthosdev/benthos/v4/public/service"
	_ "modernc.org/sqlite"
)

func main() {
	service.RunCLI(context.Background())
}
