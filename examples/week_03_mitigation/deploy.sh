#!/bin/sh
# Stands for your deployment: the version that it is given runs from now on.
echo "$NINES_TO" >version.new && mv version.new version
