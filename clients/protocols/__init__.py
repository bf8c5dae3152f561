"""How requests travel to the server: gRPC and HTTP, each for threads and for asyncio."""
