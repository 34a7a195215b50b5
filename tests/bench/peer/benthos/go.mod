module peer

go 1.21

require (
	github.com/benthosdev/benthos/v4 v4.27.0
	modernc.org/sqlite v1.28.0
)
